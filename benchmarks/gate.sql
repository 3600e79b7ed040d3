-- The 40 rules of gate_rules/ by hand: one pass over each table, one row with the number of
-- offending rows (0 or 1 for a rule on a table as a whole) under each rule's id.
with

described as (
    select
        schema_name || '.' || table_name as name,
        list(column_name || ' ' || data_type order by column_index) as columns
    from duckdb_columns()
    group by all
),

fct as (
    select
        count(*) as row_count,
        sum(amount_cents) as amount_cents,
        count(*) filter (where is_fraud) as fraud_count,
        count(transaction_id) - count(distinct transaction_id) as repeated,
        count(*) filter (
            where transaction_id is null or transacted_at is null or customer_id is null
            or amount_cents is null or is_fraud is null or _loaded_at is null
        ) as incomplete,
        count(*) - count(terminal_id) as without_terminal,
        count(*) filter (where amount_cents < 0 or amount_cents > 10000000) as odd_amounts,
        count(*) filter (
            where transacted_at < timestamp '2015-01-01' or transacted_at >= timestamp '2050-01-01'
        ) as odd_times,
        count(*) filter (
            where transacted_at < _loaded_at - interval 40 year
            or transacted_at > _loaded_at + interval 1 day
        ) as ahead,
        count(*) filter (
            where length(customer_id::varchar) not between 1 and 7
        ) as odd_customers,
        count(*) filter (
            where customer_id is not null and c.customer_id is null
        ) as unknown_customers,
        count(*) filter (
            where terminal_id is not null and m.terminal_id is null
        ) as unknown_terminals,
        count(*) filter (where (not is_fraud or amount_cents > 0) is not true) as empty_frauds,
        count(distinct customer_id) as customers,
        avg(amount_cents) as average,
        max(_loaded_at) as newest
    from marts.fct_transactions as t
    left join (select distinct customer_id from marts.dim_customers) as c using (customer_id)
    left join (select distinct terminal_id from marts.dim_terminals) as m using (terminal_id)
),

customers as (
    select
        sum(amount_cents) as amount_cents,
        sum(fraud_count) as fraud_count,
        count(customer_id) - count(distinct customer_id) as repeated,
        count(*) filter (
            where customer_id is null or transaction_count is null or amount_cents is null
            or first_transacted_at is null
        ) as incomplete,
        count(*) filter (where last_transacted_at < first_transacted_at) as backward
    from marts.dim_customers
),

terminals as (
    select
        sum(transaction_count) as transaction_count,
        count(terminal_id) - count(distinct terminal_id) as repeated,
        count(*) filter (
            where not regexp_full_match(terminal_id::varchar, '[0-9]{1,7}')
        ) as odd_ids,
        count(*) filter (
            where (fraud_count between 0 and transaction_count) is not true
        ) as odd_frauds
    from marts.dim_terminals
),

days as (
    select
        count(*) as row_count,
        sum(amount_cents) as amount_cents,
        count(transacted_on) - count(distinct transacted_on) as repeated,
        count(*) filter (where transacted_on < date '2015-01-01') as odd_days
    from marts.fct_daily_transactions
),

feat as (
    select
        count(*) as row_count,
        count(*) filter (where is_fraud) as fraud_count,
        count(transaction_id) - count(distinct transaction_id) as repeated,
        count(*) filter (
            where transaction_id is null
            or customer_transaction_count_1d is null
            or customer_transaction_count_7d is null
            or customer_transaction_count_30d is null
            or customer_amount_avg_1d is null
            or customer_amount_avg_7d is null
            or customer_amount_avg_30d is null
            or terminal_risk_1d is null
            or terminal_risk_7d is null
            or terminal_risk_30d is null
        ) as incomplete,
        count(*) filter (
            where (
                customer_transaction_count_1d <= customer_transaction_count_7d
                and customer_transaction_count_7d <= customer_transaction_count_30d
            ) is not true
        ) as not_nested,
        count(*) filter (where terminal_risk_7d not between 0 and 1) as odd_risks_7d,
        count(*) filter (where terminal_risk_30d not between 0 and 1) as odd_risks_30d,
        count(*) filter (where customer_amount_avg_1d not between 0 and 1000) as odd_averages,
        count(*) filter (
            where (is_night = (extract('hour' from transacted_at) <= 6)) is not true
        ) as odd_nights,
        avg(terminal_risk_7d) as risk
    from features.feat_transactions__behaviour
)

select
    if(
        (select columns from described where name = 'marts.fct_transactions') = [
            'transaction_id BIGINT', 'transacted_at TIMESTAMP', 'customer_id BIGINT',
            'terminal_id BIGINT', 'amount_cents BIGINT', 'is_fraud BOOLEAN', '_loaded_at TIMESTAMP'
        ], 0, 1
    ) as fct_columns,
    if(fct.row_count >= 1000, 0, 1) as fct_not_empty,
    fct.repeated as fct_id_unique,
    fct.incomplete as fct_complete,
    fct.without_terminal as fct_terminal_given,
    fct.odd_amounts as fct_amount_in_range,
    fct.odd_times as fct_time_in_range,
    fct.ahead as fct_loaded_after,
    fct.fraud_count as fct_few_frauds,
    fct.odd_customers as fct_customer_length,
    fct.unknown_customers as fct_customer_known,
    fct.unknown_terminals as fct_terminal_known,
    fct.empty_frauds as fct_fraud_moves_money,
    if(fct.customers between 100 and 1000000, 0, 1) as fct_customers,
    if(fct.average between 1000 and 20000, 0, 1) as fct_average,
    if(fct.newest >= now() at time zone 'UTC' - interval 520 week, 0, 1) as fct_fresh,
    customers.repeated as customers_id_unique,
    customers.incomplete as customers_complete,
    customers.backward as customers_first_before_last,
    if(customers.amount_cents is distinct from fct.amount_cents, 1, 0)
        as customers_sum_every_amount,
    if(customers.fraud_count is distinct from fct.fraud_count, 1, 0)
        as customers_count_every_fraud,
    terminals.repeated as terminals_id_unique,
    terminals.odd_ids as terminals_id_is_a_number,
    terminals.odd_frauds as terminals_frauds_are_some,
    if(terminals.transaction_count is distinct from fct.row_count, 1, 0)
        as terminals_count_every_transaction,
    days.repeated as days_unique,
    days.odd_days as days_in_range,
    if(days.row_count >= 2, 0, 1) as days_enough,
    if(days.amount_cents is distinct from fct.amount_cents, 1, 0) as days_sum_every_amount,
    if(
        (
            select list_sort(columns)
            from described
            where name = 'features.feat_transactions__behaviour'
        ) = list_sort([
            'transaction_id BIGINT', 'transacted_at TIMESTAMP', 'customer_id BIGINT',
            'terminal_id BIGINT', 'amount_cents BIGINT', 'is_fraud BOOLEAN',
            'is_weekend BOOLEAN', 'is_night BOOLEAN',
            'customer_transaction_count_1d BIGINT', 'customer_transaction_count_7d BIGINT',
            'customer_transaction_count_30d BIGINT', 'customer_amount_avg_1d DOUBLE',
            'customer_amount_avg_7d DOUBLE', 'customer_amount_avg_30d DOUBLE',
            'terminal_transaction_count_1d BIGINT', 'terminal_transaction_count_7d BIGINT',
            'terminal_transaction_count_30d BIGINT', 'terminal_risk_1d DOUBLE',
            'terminal_risk_7d DOUBLE', 'terminal_risk_30d DOUBLE'
        ]), 0, 1
    ) as feat_columns,
    feat.repeated as feat_id_unique,
    if(feat.row_count = fct.row_count, 0, 1) as feat_row_for_every_transaction,
    if(feat.fraud_count = fct.fraud_count, 0, 1) as feat_same_labels,
    feat.incomplete as feat_complete,
    feat.not_nested as feat_counts_nested,
    feat.odd_risks_7d as feat_risk_7d_is_share,
    feat.odd_risks_30d as feat_risk_30d_is_share,
    feat.odd_averages as feat_average_usual,
    feat.odd_nights as feat_night,
    if(feat.risk <= 0.2, 0, 1) as feat_risk_low
from fct, customers, terminals, days, feat
