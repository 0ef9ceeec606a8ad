-- Forgets what belongs to tasks that others have ended, and workers that are gone. KEYS: worker, claims, delayed.
-- ARGV: how long a worker may be idle, in milliseconds.
local worker, claims, delayed, longest = KEYS[1], KEYS[2], KEYS[3], tonumber(ARGV[1])
for _, id in ipairs(redis.call('HKEYS', claims)) do
  if not owner_of(worker, id) then redis.call('HDEL', claims, id) end
end
for _, id in ipairs(redis.call('ZRANGE', delayed, 0, -1)) do
  if not owner_of(worker, id) then redis.call('ZREM', delayed, id) end
end
local consumers = redis.pcall('XINFO', 'CONSUMERS', worker, worker)
if consumers.err then return 0 end
local gone = 0
for _, consumer in ipairs(consumers) do
  local name, pending, idle = consumer[2], consumer[4], consumer[6]
  if pending == 0 and idle > longest and name ~= 'pending' and name ~= 'delayed' then
    redis.call('XGROUP', 'DELCONSUMER', worker, worker, name)
    gone = gone + 1
  end
end
return gone
