-- one row per transaction in the lake
with source as (

    select * from {{ source('payments', 'transactions') }}

),

renamed as (

    select
        {{ renamed_payments_transactions() }},
        _loaded_at
    from source

)

select * from renamed
