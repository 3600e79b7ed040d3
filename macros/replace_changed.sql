{#-
    Incremental strategy: the keys in the model's `changed_rows` (config.meta) go,
    whether or not they still exist, and the rows made for them come.
-#}
{%- macro get_incremental_replace_changed_sql(arg_dict) -%}
    {%- set changed = config.get('meta').changed_rows -%}
    {%- set columns = get_quoted_csv(arg_dict.dest_columns | map(attribute='name')) -%}
delete from {{ arg_dict.target_relation }}
where {{ changed.key }} in (select {{ changed.key }} from {{ changed.relation }});

insert into {{ arg_dict.target_relation }} ({{ columns }})
select {{ columns }} from {{ arg_dict.temp_relation }}
{%- endmacro -%}
