{#-
    The table sums up every row of `rows` exactly once: the totals of its
    transaction_count, amount_cents, fraud_count and fraud_amount_cents.
-#}
{% test totals_equal(model, rows) %}

with summed as (

    select
        coalesce(sum(transaction_count), 0) as transaction_count,
        coalesce(sum(amount_cents), 0) as amount_cents,
        coalesce(sum(fraud_count), 0) as fraud_count,
        coalesce(sum(fraud_amount_cents), 0) as fraud_amount_cents
    from {{ model }}

),

counted as (

    select
        count(*) as transaction_count,
        coalesce(sum(amount_cents), 0) as amount_cents,
        count(*) filter (where is_fraud) as fraud_count,
        coalesce(sum(amount_cents) filter (where is_fraud), 0) as fraud_amount_cents
    from {{ rows }}

),

differing as (

    select * from summed
    except
    select * from counted

)

select * from differing

{% endtest %}
