"""People's word about agents: promotions, demotions, ceilings."""
