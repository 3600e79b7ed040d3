-- days whose own figures contradict each other
select *
from {{ ref('fct_daily_transactions') }}
where
    transaction_count < 1
    or fraud_count > transaction_count
    or (fraud_count = 0 and fraud_amount_cents != 0)
    or abs(amount_cents_avg * transaction_count - amount_cents)
    > 1e-9 * greatest(1, abs(amount_cents))
