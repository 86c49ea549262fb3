-- move_waiting makes a job that waits due at another time, in ms. One in a list that is due by now keeps its place there;
-- one that is due later leaves its entry behind.
local function move_waiting(id, at, now, scheduled, void, wake)
  local scheduled_before = redis.call('ZSCORE', scheduled, id)
  if not scheduled_before and at <= now then
    return
  end
  local earlier = schedule(scheduled, {string.format('%.0f', at), id})
  if not scheduled_before then
    discount(void, id)
  end
  if earlier or (scheduled_before and at <= now) then
    set_wake(wake)
  end
end
