-- one row per transaction whose behaviour features may have changed
{{ config(post_hook="{{ record_same_span('int_transactions_changed') }}") }}

with changes as (

    select * from {{ ref('int_transactions_changed') }}

),

transactions as not materialized (

    select * from {{ ref('fct_transactions') }}

),

-- images old and new that agree, made by one snapshot, change nothing: a late
-- label leaves customers' features as they were, a new amount the terminals'
customer_changes as (

    select
        transaction_id,
        customer_id,
        transacted_at
    from changes
    group by
        transaction_id, customer_id, transacted_at, amount_cents, lake_snapshot
    having sum(if(is_new_image, 1, -1)) != 0

),

terminal_changes as (

    select
        transaction_id,
        terminal_id,
        transacted_at
    from changes
    group by
        transaction_id, terminal_id, transacted_at, is_fraud, lake_snapshot
    having sum(if(is_new_image, 1, -1)) != 0

),

later_of_customer as (
    {{ transactions_near('customer_changes', 'customer', 0, 30) }}
),

later_of_terminal as (
    {{ transactions_near('terminal_changes', 'terminal', 7, 37) }}
),

of_customers as (

    select transaction_id from customer_changes
    union
    select transaction_id from later_of_customer

),

-- a changed row looks back at its terminal anew, whatever has changed in it
of_terminals as (

    select transaction_id from changes
    union
    select transaction_id from later_of_terminal

),

affected as (

    select
        coalesce(c.transaction_id, t.transaction_id) as transaction_id,
        c.transaction_id is not null as is_customer_affected,
        t.transaction_id is not null as is_terminal_affected
    from of_customers as c
    full join of_terminals as t on c.transaction_id = t.transaction_id

)

select * from affected
