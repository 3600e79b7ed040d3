-- one row per transaction
{{
    config(
        materialized='incremental',
        post_hook="{{ advance_watermark('int_transactions_changed') }}",
    )
}}

with transactions as (

    select * from {{ ref('stg_payments__transactions') }}

),

changes as (

    select * from {{ ref('int_transactions_changed') }}

),

current_transactions as (

    select
        transaction_id,
        transacted_at,
        customer_id,
        terminal_id,
        amount_cents,
        is_fraud,
        _loaded_at
    from transactions
    {% if is_incremental() -%}
    where transaction_id in (select c.transaction_id from changes as c)
    {%- endif %}

)

select * from current_transactions
