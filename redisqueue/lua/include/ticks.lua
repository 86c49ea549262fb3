-- last_tick returns the last tick of a schedule, nil if none is known. A text that is no time counts as none, and so does a
-- time more than a day ahead of the clock, as after that was set back: the schedule would stand still until then.
local function last_tick(ticks, name, now)
  local last = whole(redis.call('HGET', ticks, name))
  if last > 0 and last <= now + 86400000 then
    return last
  end
end
