{#-
    The rows of `rows` that are from `from_days` to `to_days` later (negative:
    earlier) than a row of `marks` that has the same `entity` and meets `condition`.
    Marks are merged to spans of up to 30 days first, so rows between two marks may
    come along although they are near neither.
-#}
{%- macro rows_near(rows, marks, entity, from_days, to_days, condition='true') %}
    select r.*
    from {{ rows }} as r
    semi join (
        select
            {{ entity }},
            min(transacted_at) + interval ({{ from_days }}) day as starts_at,
            max(transacted_at) + interval ({{ to_days }}) day as ends_at
        from {{ marks }}
        where {{ condition }}
        group by {{ entity }}, time_bucket(interval 30 day, transacted_at)
    ) as span
        on
            r.{{ entity }} = span.{{ entity }}
            and r.transacted_at between span.starts_at and span.ends_at
{%- endmacro -%}
