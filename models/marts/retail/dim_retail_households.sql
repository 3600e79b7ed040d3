-- one row per household that bought something or whose demographics are known
with transactions as (

    select * from {{ ref('fct_retail_transactions') }}

),

demographics as (

    select * from {{ ref('stg_retail__demographics') }}

),

purchases as (

    select
        household_id,
        count(*) as transaction_count,
        count(distinct basket_id) as basket_count,
        cast(sum(sales_value_cents) as bigint) as sales_value_cents,
        cast(sum(retail_discount_cents) as bigint) as retail_discount_cents,
        cast(sum(coupon_discount_cents) as bigint) as coupon_discount_cents,
        cast(sum(coupon_match_discount_cents) as bigint)
            as coupon_match_discount_cents,
        min(sold_on) as first_sold_on,
        max(sold_on) as last_sold_on
    from transactions
    group by household_id

),

households as (

    select
        coalesce(purchases.household_id, demographics.household_id)
            as household_id,
        demographics.household_id is not null as is_demographics_known,
        demographics.age_band,
        demographics.income_band,
        demographics.home_ownership,
        demographics.marital_status,
        demographics.household_size_band,
        demographics.household_composition,
        demographics.kids_count_band,
        coalesce(purchases.transaction_count, 0) as transaction_count,
        coalesce(purchases.basket_count, 0) as basket_count,
        coalesce(purchases.sales_value_cents, 0) as sales_value_cents,
        coalesce(purchases.retail_discount_cents, 0) as retail_discount_cents,
        coalesce(purchases.coupon_discount_cents, 0) as coupon_discount_cents,
        coalesce(purchases.coupon_match_discount_cents, 0)
            as coupon_match_discount_cents,
        purchases.first_sold_on,
        purchases.last_sold_on
    from purchases
    full join demographics
        on purchases.household_id = demographics.household_id

)

select * from households
