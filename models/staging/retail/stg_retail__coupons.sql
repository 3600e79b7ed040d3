-- one row per coupon, product that it is good for, and campaign
with source as (

    select * from {{ source('retail', 'coupons') }}

),

renamed as (

    select
        coupon_upc,
        product_id,
        campaign_id
    from source

)

select * from renamed
