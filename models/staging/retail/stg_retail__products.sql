-- one row per product of the catalogue
with source as (

    select * from {{ source('retail', 'products') }}

),

renamed as (

    select
        product_id,
        manufacturer_id,
        department,
        product_category,
        product_type,
        brand,
        package_size
    from source

)

select * from renamed
