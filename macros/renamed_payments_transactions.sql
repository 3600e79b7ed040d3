{#-
    The columns of the source payments.transactions under our names: the only
    place that knows the source's. Casts also take a source of text columns; what
    does not cast becomes null, and the gate then blocks and shows the rows.
-#}
{%- macro renamed_payments_transactions() %}
        try_cast("TRANSACTION_ID" as bigint) as transaction_id,
        try_cast("TX_DATETIME" as timestamp) as transacted_at,
        try_cast("CUSTOMER_ID" as bigint) as customer_id,
        try_cast("TERMINAL_ID" as bigint) as terminal_id,
        try_cast(round(try_cast("TX_AMOUNT" as double) * 100) as bigint) as amount_cents,
        try_cast("TX_FRAUD" as boolean) as is_fraud
{%- endmacro -%}
