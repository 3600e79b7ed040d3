{#-
    How transaction behaviour is measured, over 1, 7 and 30 days.

    Windows are integer frames over microseconds, which are cheaper than interval
    frames. Amounts are summed as doubles: sums of whole cents are exact up to 2^53,
    and twice as cheap as sums of integers, which are 128 bits wide.
-#}

{%- macro behaviour_days() -%}{{- return([1, 7, 30]) -}}{%- endmacro -%}
{%- macro label_delay_days() -%}{{- return(7) -}}{%- endmacro -%}
{%- macro microseconds(days) -%}{{- days * 24 * 60 * 60 * 1000000 -}}{%- endmacro -%}

{#-
    Customer: (t - n days, t], but of the rows at t itself only those up to this
    transaction_id. No frame says that, so it is the difference of two: all rows up
    to this one, less all rows up to t - n days.
-#}
{%- macro customer_windows() %}
        customer_until_now as (
            partition by customer_id
            order by epoch_us(transacted_at), transaction_id
            rows unbounded preceding
        )
    {%- for n in behaviour_days() %},
        customer_until_{{ n }}d_ago as (
            partition by customer_id
            order by epoch_us(transacted_at)
            range between unbounded preceding and {{ microseconds(n) }} preceding
        )
    {%- endfor %}
{%- endmacro -%}

{%- macro customer_behaviour() %}
    {%- for n in behaviour_days() %}
        count(*) over customer_until_now
        - count(*) over customer_until_{{ n }}d_ago
            as customer_transaction_count_{{ n }}d,
        (
            sum(cast(amount_cents as double)) over customer_until_now
            - coalesce(
                sum(cast(amount_cents as double)) over customer_until_{{ n }}d_ago, 0
            )
        ) / customer_transaction_count_{{ n }}d / 100 as customer_amount_avg_{{ n }}d
        {{- ',' if not loop.last }}
    {%- endfor %}
{%- endmacro -%}

{#- Terminal: (t - n days, t] as it was when its labels were known, 7 days earlier. -#}
{%- macro terminal_windows() %}
    {%- for n in behaviour_days() %}
        terminal_{{ n }}d as (
            partition by terminal_id
            order by epoch_us(transacted_at)
            range between {{ microseconds(n + label_delay_days()) | int - 1 }} preceding
            and {{ microseconds(label_delay_days()) }} preceding
        )
        {{- ',' if not loop.last }}
    {%- endfor %}
{%- endmacro -%}

{%- macro terminal_behaviour() %}
    {%- for n in behaviour_days() %}
        count(*) over terminal_{{ n }}d as terminal_transaction_count_{{ n }}d,
        coalesce(
            count(*) filter (is_fraud) over terminal_{{ n }}d
            / nullif(terminal_transaction_count_{{ n }}d, 0),
            0
        ) as terminal_risk_{{ n }}d
        {{- ',' if not loop.last }}
    {%- endfor %}
{%- endmacro -%}

{#- The names of the measures, of one entity or of both. -#}
{%- macro behaviour_columns(entity=none) -%}
    {%- set measures = {
        'customer': ['customer_transaction_count', 'customer_amount_avg'],
        'terminal': ['terminal_transaction_count', 'terminal_risk'],
    } -%}
    {%- set columns = [] -%}
    {%- for name in ([entity] if entity else measures) -%}
        {%- for n in behaviour_days() -%}
            {%- for measure in measures[name] -%}
                {%- do columns.append(measure ~ '_' ~ n ~ 'd') -%}
            {%- endfor -%}
        {%- endfor -%}
    {%- endfor -%}
    {{- return(columns) -}}
{%- endmacro -%}

{#-
    The rows of `anew` with the behaviour of affected customers and terminals, and
    that of the others as it was `before`: the rest of an incremental build.
-#}
{%- macro behaviour_anew(anew, before) %}
    select
        {{ anew }}.*
    {%- for entity in ['customer', 'terminal'] -%}
        {%- for column in behaviour_columns(entity) %},
        case
            when {{ anew }}.is_{{ entity }}_affected then {{ entity }}.{{ column }}
            else before.{{ column }}
        end as {{ column }}
        {%- endfor -%}
    {%- endfor %}
    from {{ anew }}
    left join customer_behaviour as customer
        on {{ anew }}.transaction_id = customer.transaction_id
    left join terminal_behaviour as terminal
        on {{ anew }}.transaction_id = terminal.transaction_id
    left join {{ before }} as before
        on {{ anew }}.transaction_id = before.transaction_id
{%- endmacro -%}
