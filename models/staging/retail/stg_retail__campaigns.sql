-- one row per campaign and household that it was sent to
with source as (

    select * from {{ source('retail', 'campaigns') }}

),

renamed as (

    select
        campaign_id,
        household_id
    from source

)

select * from renamed
