-- one row per week and department with at least one sale
with transactions as (

    select * from {{ ref('fct_retail_transactions') }}

),

products as (

    select * from {{ ref('dim_retail_products') }}

),

weeks as (

    select
        transactions.week,
        coalesce(products.department, 'UNKNOWN') as department,
        count(*) as transaction_count,
        count(distinct transactions.basket_id) as basket_count,
        count(distinct transactions.household_id) as household_count,
        cast(sum(transactions.sales_value_cents) as bigint)
            as sales_value_cents,
        cast(sum(transactions.retail_discount_cents) as bigint)
            as retail_discount_cents,
        cast(sum(transactions.coupon_discount_cents) as bigint)
            as coupon_discount_cents,
        cast(sum(transactions.coupon_match_discount_cents) as bigint)
            as coupon_match_discount_cents
    from transactions
    left join products on transactions.product_id = products.product_id
    group by all

)

select * from weeks
