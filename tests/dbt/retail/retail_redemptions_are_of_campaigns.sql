-- redemptions of a coupon that the campaign did not offer, by a household that
-- it was not sent to, or on a day when it did not run
{{ config(tags=['retail']) }}

select redemptions.*
from {{ ref('stg_retail__coupon_redemptions') }} as redemptions
left join
    {{ ref('stg_retail__campaign_descriptions') }} as campaigns
    on redemptions.campaign_id = campaigns.campaign_id
left join
    {{ ref('stg_retail__campaigns') }} as targets
    on
        redemptions.campaign_id = targets.campaign_id
        and redemptions.household_id = targets.household_id
where (
    redemptions.redeemed_on between campaigns.started_on and campaigns.ended_on
    and targets.household_id is not null
    and redemptions.coupon_upc in (
        select coupons.coupon_upc
        from {{ ref('stg_retail__coupons') }} as coupons
        where coupons.campaign_id = redemptions.campaign_id
    )
) is not true
