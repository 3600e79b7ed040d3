-- transactions whose longer windows do not hold their shorter ones, that do not
-- count themselves, whose risk is no share, or with something missing
select *
from {{ ref('feat_transactions__behaviour') }}
where (
    is_weekend is not null
    and is_night is not null
    and customer_transaction_count_1d >= 1
    and customer_transaction_count_7d >= customer_transaction_count_1d
    and customer_transaction_count_30d >= customer_transaction_count_7d
    and customer_amount_avg_1d is not null
    and customer_amount_avg_7d is not null
    and customer_amount_avg_30d is not null
    and terminal_transaction_count_1d >= 0
    and terminal_transaction_count_7d >= terminal_transaction_count_1d
    and terminal_transaction_count_30d >= terminal_transaction_count_7d
    and terminal_risk_1d between 0 and 1
    and terminal_risk_7d between 0 and 1
    and terminal_risk_30d between 0 and 1
) is not true
