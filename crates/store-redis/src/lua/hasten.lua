-- Lets the task of a room be claimed at once. KEYS: stream, worker, delayed, paused. Returns 0 if there is nothing to do.
local stream, worker, delayed, paused = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
if redis.call('EXISTS', stream) == 0 or redis.call('SISMEMBER', paused, stream) == 1 then return 0 end
deliver(worker, 1000)
local id = each_task(worker, function(id, fields)
  if fields[1] == 'compact' and fields[2] == stream then return id end
end) or enqueue(worker, stream)
local owner = owner_of(worker, id)
if not owner or owner == 'pending' or owner == 'delayed' then
  redis.call('ZREM', delayed, id)
  redis.call('XCLAIM', worker, worker, 'pending', 0, id, 'TIME', 0, 'FORCE', 'JUSTID')
end
return 1
