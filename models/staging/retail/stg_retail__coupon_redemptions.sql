-- one row per coupon that a household redeemed on a day
with source as (

    select * from {{ source('retail', 'coupon_redemptions') }}

),

renamed as (

    select
        household_id,
        coupon_upc,
        campaign_id,
        cast(redemption_date as date) as redeemed_on
    from source

)

select * from renamed
