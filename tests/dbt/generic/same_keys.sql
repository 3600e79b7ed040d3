{#- Both tables hold the same values of `column_name`. -#}
{% test same_keys(model, column_name, rows) %}

(
    select {{ column_name }} from {{ model }}
    except
    select {{ column_name }} from {{ rows }}
)
union all
(
    select {{ column_name }} from {{ rows }}
    except
    select {{ column_name }} from {{ model }}
)

{% endtest %}
