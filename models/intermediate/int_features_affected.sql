-- one row per transaction whose behaviour features may have changed
{{ config(post_hook="{{ record_same_span('intermediate.int_transactions_changed') }}") }}

with changes as (

    select * from {{ ref('int_transactions_changed') }}

),

transactions as not materialized (

    select * from {{ ref('fct_transactions') }}

),

-- an old and a new image that agree, made by one snapshot, change nothing: a late
-- label leaves what is known of customers as it was, a new amount that of terminals
images as (

    select
        *,
        if(is_new_image, 1, -1) as direction
    from changes

),

customer_changes as (

    select
        transaction_id,
        customer_id,
        transacted_at
    from images
    group by lake_snapshot, transaction_id, customer_id, transacted_at, amount_cents
    having sum(direction) != 0

),

terminal_changes as (

    select
        transaction_id,
        terminal_id,
        transacted_at
    from images
    group by lake_snapshot, transaction_id, terminal_id, transacted_at, is_fraud
    having sum(direction) != 0

),

later_of_customer as (
    {{ rows_near('transactions', 'customer_changes', 'customer_id', 0, 30) }}
),

later_of_terminal as (
    {{ rows_near('transactions', 'terminal_changes', 'terminal_id', 7, 37) }}
),

reasons as (

    select transaction_id, 'terminal' as entity from changes
    union all
    select transaction_id, 'customer' as entity from customer_changes
    union all
    select transaction_id, 'customer' as entity from later_of_customer
    union all
    select transaction_id, 'terminal' as entity from later_of_terminal

),

affected as (

    select
        transaction_id,
        bool_or(entity = 'customer') as is_customer_affected,
        bool_or(entity = 'terminal') as is_terminal_affected
    from reasons
    group by transaction_id

)

select * from affected
