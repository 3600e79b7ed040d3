-- one row per product of the catalogue
with products as (

    select * from {{ ref('stg_retail__products') }}

)

select * from products
