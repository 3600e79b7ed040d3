-- one row per image, old or new, of a transaction that changed in the lake
-- after the snapshot that the incremental models reflect
{{ config(post_hook="{{ record_changed_span() }}") }}
{%- set transactions = source('payments', 'transactions') -%}
{%- set span = changed_span() %}

with feed as (

    select *
    from
        ducklake_table_changes(
            '{{ transactions.database }}',
            '{{ transactions.schema }}',
            '{{ transactions.identifier }}',
            {{ [span.since + 1, span.until] | min }},
            {{ span.until }}
        )
    {% if span.since == span.until -%}
    where false
    {%- endif %}

),

renamed as (

    select
        {{ renamed_payments_transactions() }},
        change_type in ('insert', 'update_postimage') as is_new_image,
        snapshot_id as lake_snapshot
    from feed

)

select * from renamed
