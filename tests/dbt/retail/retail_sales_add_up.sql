-- ways of adding up that do not give what the receipts' lines give
{{ config(tags=['retail']) }}

{% set totals -%}
    cast(coalesce(sum(sales_value_cents), 0) as bigint) as sales_value_cents,
    cast(coalesce(sum(retail_discount_cents), 0) as bigint)
        as retail_discount_cents,
    cast(coalesce(sum(coupon_discount_cents), 0) as bigint)
        as coupon_discount_cents,
    cast(coalesce(sum(coupon_match_discount_cents), 0) as bigint)
        as coupon_match_discount_cents
{%- endset %}

with added_up as (

    {% for mart in [
        'fct_retail_daily_sales',
        'fct_retail_weekly_department_sales',
        'dim_retail_households',
    ] -%}
    select
        '{{ mart }}' as mart,
        cast(coalesce(sum(transaction_count), 0) as bigint)
            as transaction_count,
        {{ totals }}
    from {{ ref(mart) }}
    {%- if not loop.last %}
    union all
    {% endif %}
    {%- endfor %}

),

lines as (

    select
        count(*) as transaction_count,
        {{ totals }}
    from {{ ref('fct_retail_transactions') }}

)

select added_up.*
from added_up
cross join lines
where
    added_up.transaction_count != lines.transaction_count
    or added_up.sales_value_cents != lines.sales_value_cents
    or added_up.retail_discount_cents != lines.retail_discount_cents
    or added_up.coupon_discount_cents != lines.coupon_discount_cents
    or added_up.coupon_match_discount_cents
    != lines.coupon_match_discount_cents
