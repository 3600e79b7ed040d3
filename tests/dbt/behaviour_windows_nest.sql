-- transactions whose longer windows hold less than their shorter ones, that do not
-- count themselves, or whose risk is no share
select *
from {{ ref('feat_transactions__behaviour') }}
where
    customer_transaction_count_1d < 1
    or customer_transaction_count_7d < customer_transaction_count_1d
    or customer_transaction_count_30d < customer_transaction_count_7d
    or terminal_transaction_count_1d < 0
    or terminal_transaction_count_7d < terminal_transaction_count_1d
    or terminal_transaction_count_30d < terminal_transaction_count_7d
    or terminal_risk_1d not between 0 and 1
    or terminal_risk_7d not between 0 and 1
    or terminal_risk_30d not between 0 and 1
