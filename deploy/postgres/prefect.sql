-- Run once, when the volume is empty; POSTGRES_DB, the run ledger's database, is there already.
create database prefect;
