-- one row per customer that a transaction names
with transactions as (

    select * from {{ ref('fct_transactions') }}

),

customers as (

    select
        customer_id,
        count(*) as transaction_count,
        cast(sum(amount_cents) as bigint) as amount_cents,
        count(*) filter (where is_fraud) as fraud_count,
        cast(coalesce(sum(amount_cents) filter (where is_fraud), 0) as bigint)
            as fraud_amount_cents,
        min(transacted_at) as first_transacted_at,
        max(transacted_at) as last_transacted_at
    from transactions
    group by customer_id

)

select * from customers
