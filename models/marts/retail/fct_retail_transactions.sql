-- one row per product in a basket: a line of a receipt
with transactions as (

    select * from {{ ref('stg_retail__transactions') }}

),

products as (

    select * from {{ ref('stg_retail__products') }}

),

lines as (

    select
        transactions.basket_id,
        transactions.product_id,
        transactions.household_id,
        transactions.store_id,
        transactions.transacted_at,
        transactions.sold_on,
        transactions.week,
        transactions.quantity,
        transactions.sales_value_cents,
        transactions.retail_discount_cents,
        transactions.coupon_discount_cents,
        transactions.coupon_match_discount_cents,
        transactions.is_free,
        products.product_id is not null as is_product_known
    from transactions
    left join products on transactions.product_id = products.product_id

)

select * from lines
