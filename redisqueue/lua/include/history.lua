-- counts returns the attempts and crashes of a value in history, which may be absent.
local function counts(value)
  if not value then
    return 0, 0
  end
  local attempts, crashes = string.match(value, '^(%d+) (%d+)')
  return tonumber(attempts or 0), tonumber(crashes or 0)
end

-- look_up returns the values of ids in a hash; an empty table when the hash is absent, as rare ones mostly are.
local function look_up(hash, ids)
  if #ids == 0 or redis.call('EXISTS', hash) == 0 then
    return {}
  end
  return redis.call('HMGET', hash, unpack(ids))
end
