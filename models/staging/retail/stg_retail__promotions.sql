-- one row per product, store, week and place in store and mailer
with source as (

    select * from {{ source('retail', 'promotions') }}

),

renamed as (

    select
        product_id,
        store_id,
        week,
        display_location,
        mailer_location,
        display_location != '0' as is_displayed,
        mailer_location != '0' as is_mailed
    from source

)

select * from renamed
