-- last_tick: tells the last tick of a schedule; where none is known, the schedule begins.
-- Includes: now, whole, ticks
-- KEYS[1] ticks
-- ARGV[1] the schedule's name
-- ARGV[2] when it begins, in ms; if that is later than the server's clock, it begins now
-- Returns {last tick, the server's clock}, both texts in ms.
local ticks = KEYS[1]

redis.call('HDEL', ticks, '')
local now = now_ms()
local last = last_tick(ticks, ARGV[1], now)
if not last then
  last = math.max(math.min(tonumber(ARGV[2]), now), 1)
  redis.call('HSET', ticks, ARGV[1], string.format('%.0f', last))
end
return {string.format('%.0f', last), string.format('%.0f', now)}
