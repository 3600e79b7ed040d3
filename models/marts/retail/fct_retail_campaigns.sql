-- one row per campaign
with campaigns as (

    select * from {{ ref('stg_retail__campaign_descriptions') }}

),

targets as (

    select
        campaign_id,
        count(*) as household_count
    from {{ ref('stg_retail__campaigns') }}
    group by campaign_id

),

coupons as (

    select
        campaign_id,
        count(distinct coupon_upc) as coupon_count,
        count(distinct product_id) as product_count
    from {{ ref('stg_retail__coupons') }}
    group by campaign_id

),

redemptions as (

    select
        campaign_id,
        count(*) as redemption_count,
        count(distinct coupon_upc) as redeemed_coupon_count,
        count(distinct household_id) as redeeming_household_count
    from {{ ref('stg_retail__coupon_redemptions') }}
    group by campaign_id

),

joined as (

    select
        campaigns.campaign_id,
        campaigns.campaign_type,
        campaigns.started_on,
        campaigns.ended_on,
        coalesce(targets.household_count, 0) as household_count,
        coalesce(coupons.coupon_count, 0) as coupon_count,
        coalesce(coupons.product_count, 0) as product_count,
        coalesce(redemptions.redemption_count, 0) as redemption_count,
        coalesce(redemptions.redeemed_coupon_count, 0) as redeemed_coupon_count,
        coalesce(redemptions.redeeming_household_count, 0)
            as redeeming_household_count,
        coalesce(redemptions.redeeming_household_count, 0)
        / nullif(targets.household_count, 0) as redeeming_household_share
    from campaigns
    left join targets on campaigns.campaign_id = targets.campaign_id
    left join coupons on campaigns.campaign_id = coupons.campaign_id
    left join redemptions on campaigns.campaign_id = redemptions.campaign_id

)

select * from joined
