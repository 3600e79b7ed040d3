-- one row per product in a basket: a line of a receipt
with source as (

    select * from {{ source('retail', 'transactions') }}

),

renamed as (

    select
        basket_id,
        product_id,
        household_id,
        store_id,
        transaction_timestamp as transacted_at,
        -- the stores' clocks are New York's, and so are their days
        cast(
            timezone('America/New_York', timezone('UTC', transaction_timestamp))
            as date
        ) as sold_on,
        week,
        quantity,
        cast(round(sales_value * 100) as bigint) as sales_value_cents,
        cast(round(retail_disc * 100) as bigint) as retail_discount_cents,
        cast(round(coupon_disc * 100) as bigint) as coupon_discount_cents,
        cast(round(coupon_match_disc * 100) as bigint)
            as coupon_match_discount_cents,
        sales_value = 0 as is_free
    from source

)

select * from renamed
