{#-
    The columns of the source payments.transactions under our names: the only
    place that knows the source's. Casts also take a source of text columns.
-#}
{%- macro renamed_payments_transactions() %}
        cast("TRANSACTION_ID" as bigint) as transaction_id,
        cast("TX_DATETIME" as timestamp) as transacted_at,
        cast("CUSTOMER_ID" as bigint) as customer_id,
        cast("TERMINAL_ID" as bigint) as terminal_id,
        cast(round(cast("TX_AMOUNT" as double) * 100) as bigint) as amount_cents,
        cast("TX_FRAUD" as boolean) as is_fraud
{%- endmacro -%}
