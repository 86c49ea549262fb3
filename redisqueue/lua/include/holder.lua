-- holder_of returns the id of the job that has a unique key, nil when it is free. What is no text is no id.
local function holder_of(unique)
  local id = redis.pcall('GET', unique)
  return type(id) == 'string' and id or nil
end
