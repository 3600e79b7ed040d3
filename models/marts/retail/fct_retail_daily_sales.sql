-- one row per trading day with at least one sale
with transactions as (

    select * from {{ ref('fct_retail_transactions') }}

),

days as (

    select
        sold_on,
        count(*) as transaction_count,
        count(distinct basket_id) as basket_count,
        count(distinct household_id) as household_count,
        cast(sum(sales_value_cents) as bigint) as sales_value_cents,
        cast(sum(retail_discount_cents) as bigint) as retail_discount_cents,
        cast(sum(coupon_discount_cents) as bigint) as coupon_discount_cents,
        cast(sum(coupon_match_discount_cents) as bigint)
            as coupon_match_discount_cents
    from transactions
    group by sold_on

),

averaged as (

    select
        *,
        sales_value_cents / basket_count as basket_value_cents_avg
    from days

)

select * from averaged
