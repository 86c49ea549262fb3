-- discount says in void that one more entry of a job in pending or suspects no longer counts.
local function discount(void, id)
  local value = redis.call('HGET', void, id)
  if value and whole(value) == 0 then
    redis.call('HDEL', void, id) -- garbage
  end
  redis.call('HINCRBY', void, id, 1)
end
