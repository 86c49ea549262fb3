-- wake: wakes one waiting worker if there is something to claim, or will be within the poll interval.
-- Includes: now, wake, schedule
-- KEYS[1] pending
-- KEYS[2] suspects
-- KEYS[3] scheduled
-- KEYS[4] wake
-- ARGV[1] poll interval in ms
-- Returns 1 when there is, else 0.
local pending = KEYS[1]
local suspects = KEYS[2]
local scheduled = KEYS[3]
local wake = KEYS[4]

redis.call('ZREM', scheduled, '')
local due = next_due(scheduled)
local soon = due and due <= now_ms() + ARGV[1]
if soon or redis.call('LLEN', suspects) > 0 or redis.call('LLEN', pending) > 0 then
  set_wake(wake)
  return 1
end
return 0
