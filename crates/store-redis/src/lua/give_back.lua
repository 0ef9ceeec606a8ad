-- Gives a task back. KEYS: worker, claims, delayed. ARGV: me, id, epoch, delay in milliseconds.
local worker, claims, delayed = KEYS[1], KEYS[2], KEYS[3]
local me, id, epoch, delay = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
if owner_of(worker, id) ~= me or redis.call('HGET', claims, id) ~= epoch then return 0 end
redis.call('HDEL', claims, id)
local to = 'pending'
if delay > 0 then
  redis.call('ZADD', delayed, text(now_ms() + delay), id)
  to = 'delayed'
end
redis.call('XCLAIM', worker, worker, to, 0, id, 'TIME', 0, 'JUSTID')
return 1
