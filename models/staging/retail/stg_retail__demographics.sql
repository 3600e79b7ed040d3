-- one row per household whose demographics are known
with source as (

    select * from {{ source('retail', 'demographics') }}

),

renamed as (

    select
        household_id,
        age as age_band,
        income as income_band,
        home_ownership,
        marital_status,
        household_size as household_size_band,
        household_comp as household_composition,
        kids_count as kids_count_band
    from source

)

select * from renamed
