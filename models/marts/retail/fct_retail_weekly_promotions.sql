-- one row per week and department with at least one promotion
with promotions as (

    select * from {{ ref('stg_retail__promotions') }}

),

products as (

    select * from {{ ref('dim_retail_products') }}

),

-- far fewer rows than promotions: the join and the products' count are cheap
product_weeks as (

    select
        week,
        product_id,
        count(*) as promotion_count,
        count(*) filter (where is_displayed) as display_count,
        count(*) filter (where is_mailed) as mailer_count
    from promotions
    group by all

),

weeks as (

    select
        product_weeks.week,
        coalesce(products.department, 'UNKNOWN') as department,
        count(*) as product_count,
        cast(sum(product_weeks.promotion_count) as bigint) as promotion_count,
        cast(sum(product_weeks.display_count) as bigint) as display_count,
        cast(sum(product_weeks.mailer_count) as bigint) as mailer_count
    from product_weeks
    left join products on product_weeks.product_id = products.product_id
    group by all

)

select * from weeks
