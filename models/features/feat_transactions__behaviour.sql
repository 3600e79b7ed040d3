-- one row per transaction, with what its customer and terminal did before it
{{
    config(
        materialized='incremental',
        post_hook="{{ advance_watermark('int_features_affected', 'fct_transactions') }}",
    )
}}

with transactions as not materialized (

    select * from {{ ref('fct_transactions') }}

),

affected as (

    select * from {{ ref('int_features_affected') }}

),

{% if is_incremental() -%}
anew as (

    select
        t.*,
        a.is_customer_affected,
        a.is_terminal_affected
    from transactions as t
    inner join affected as a on t.transaction_id = a.transaction_id

),

customer_history as (
    {{ transactions_near('anew', 'customer', -30, 0, 'is_customer_affected') }}
),

terminal_history as (
    {{ transactions_near('anew', 'terminal', -37, 0, 'is_terminal_affected') }}
),
{%- endif %}

customer_behaviour as (

    select *, {{ customer_behaviour() }}
    from {{ 'customer_history' if is_incremental() else 'transactions' }}
    window {{ customer_windows() }}

),

terminal_behaviour as (

    select *, {{ terminal_behaviour() }}
    from {{ 'terminal_history' if is_incremental() else 'customer_behaviour' }}
    window {{ terminal_windows() }}

),

{% if is_incremental() -%}
behaviour as (
    {{ behaviour_anew('anew', this) }}
),
{%- endif %}

final as (

    select
        transaction_id,
        transacted_at,
        customer_id,
        terminal_id,
        amount_cents,
        is_fraud,
        extract('isodow' from transacted_at) >= 6 as is_weekend,
        extract('hour' from transacted_at) <= 6 as is_night,
        {{ behaviour_columns() | join(',\n        ') }}
    from {{ 'behaviour' if is_incremental() else 'terminal_behaviour' }}

)

select * from final
