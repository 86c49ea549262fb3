-- set_wake puts the wake token where one waiting worker finds it, unless it lies there already.
local function set_wake(wake)
  if redis.call('LLEN', wake) == 0 then
    redis.call('RPUSH', wake, '1')
  end
end
