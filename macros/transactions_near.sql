{#-
    The rows of the CTE `transactions` that are `from_days` to `to_days` later
    (negative: earlier) than a row of `marks` that has the same customer or terminal
    (`entity`) and meets `condition`. Marks are merged to spans of up to 30 days
    first, so rows between two marks may come along although they are near neither.
-#}
{%- macro transactions_near(marks, entity, from_days, to_days, condition='true') %}
    select t.*
    from transactions as t
    semi join (
        select
            {{ entity }}_id,
            min(transacted_at) + interval ({{ from_days }}) day as starts_at,
            max(transacted_at) + interval ({{ to_days }}) day as ends_at
        from {{ marks }}
        where {{ condition }}
        group by {{ entity }}_id, time_bucket(interval 30 day, transacted_at)
    ) as span
        on
            t.{{ entity }}_id = span.{{ entity }}_id
            and t.transacted_at between span.starts_at and span.ends_at
{%- endmacro -%}
