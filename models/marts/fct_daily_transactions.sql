-- one row per UTC day with at least one transaction
with transactions as (

    select * from {{ ref('fct_transactions') }}

),

days as (

    select
        cast(transacted_at as date) as transacted_on,
        count(*) as transaction_count,
        cast(sum(amount_cents) as bigint) as amount_cents,
        count(*) filter (where is_fraud) as fraud_count,
        cast(coalesce(sum(amount_cents) filter (where is_fraud), 0) as bigint)
            as fraud_amount_cents
    from transactions
    group by all

),

averaged as (

    select
        *,
        amount_cents / transaction_count as amount_cents_avg
    from days

)

select * from averaged
