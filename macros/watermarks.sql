{#-
    A relation's watermark is the lake snapshot that its rows reflect at least.
    meta.watermarks holds it, written in the transaction that writes the rows.
    A relation of changes also has a since_snapshot: it covers the changes after
    that snapshot, up to and including its watermark.
-#}

{#- The consumers of changes: the models whose watermarks say where to begin. -#}
{%- macro incremental_relations() -%}
    {{- return(['fct_transactions', 'feat_transactions__behaviour']) -}}
{%- endmacro -%}

{#- The snapshots (since, until] to read changes of; empty if all is built in full. -#}
{%- macro changed_span() -%}
    {%- if not execute -%}{{- return({'since': 0, 'until': 0}) -}}{%- endif -%}
    {%- set until = run_query('select id from lake.current_snapshot()').rows[0][0] | int -%}
    {%- set since = oldest_watermark() -%}
    {%- if since is none or flags.FULL_REFRESH -%}
        {{- return({'since': until, 'until': until}) -}}
    {%- endif -%}
    {%- if since > until -%}
        {{- exceptions.raise_compiler_error(
            'the lake is at snapshot ' ~ until ~ ', older than ' ~ since
            ~ ', which this database was built from\n'
            ~ '  next: run dbt with --full-refresh'
        ) -}}
    {%- endif -%}
    {{- return({'since': since, 'until': until}) -}}
{%- endmacro -%}

{#- None where no incremental relation exists; 0 where one has no watermark. -#}
{%- macro oldest_watermark() -%}
    {%- do run_query(watermarks_ddl()) -%}
    {%- set rows = run_query(
        "select min(coalesce(w.lake_snapshot, 0)) from duckdb_tables() as t
        left join meta.watermarks as w on w.relation = t.table_name
        where t.database_name = current_database() and not t.temporary
        and t.table_name in ('" ~ incremental_relations() | join("', '") ~ "')"
    ).rows -%}
    {{- return(none if rows[0][0] is none else rows[0][0] | int) -}}
{%- endmacro -%}

{%- macro watermarks_ddl() -%}
create schema if not exists meta;
create table if not exists meta.watermarks (
    relation varchar primary key, since_snapshot bigint, lake_snapshot bigint not null
)
{%- endmacro -%}

{#- Post-hook of int_transactions_changed. -#}
{%- macro record_changed_span() -%}
    {%- set span = changed_span() -%}
    {{- record_watermark('select ' ~ span.since ~ ', ' ~ span.until) -}}
{%- endmacro -%}

{#- Post-hook of a relation that is derived from the changes in `changes`. -#}
{%- macro record_same_span(changes) -%}
    {{- record_watermark(
        "select since_snapshot, lake_snapshot from meta.watermarks where relation = '" ~ changes ~ "'"
    ) -}}
{%- endmacro -%}

{#-
    Post-hook of an incremental model. Built in full it reflects what it read,
    `upstream` (a relation, or the lake if none). Built from `changes` it also
    reflects no more than they cover, and nothing new if they begin after its own
    watermark: then a later build, whose changes do cover it, brings it up to date.
-#}
{%- macro advance_watermark(changes, upstream=none) -%}
    {%- set mark -%}
    (select {{ "id from lake.current_snapshot()" if upstream is none
        else "lake_snapshot from meta.watermarks where relation = '" ~ upstream ~ "'" }})
    {%- endset -%}
    {%- if not is_incremental() -%}
        {{- record_watermark('select null, ' ~ mark) -}}
    {%- else -%}
update meta.watermarks as mine
set lake_snapshot = greatest(mine.lake_snapshot, least(c.lake_snapshot, {{ mark }}))
from meta.watermarks as c
where
    mine.relation = '{{ this.identifier }}'
    and c.relation = '{{ changes }}'
    and c.since_snapshot <= mine.lake_snapshot
    {%- endif -%}
{%- endmacro -%}

{%- macro record_watermark(span) -%}
{{ watermarks_ddl() }};
insert into meta.watermarks
select '{{ this.identifier }}', * from ({{ span }})
on conflict (relation) do update
set since_snapshot = excluded.since_snapshot, lake_snapshot = excluded.lake_snapshot
{%- endmacro -%}
