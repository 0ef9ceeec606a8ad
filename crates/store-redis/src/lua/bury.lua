-- Moves a task that cannot be read to where operators find it. KEYS: worker, claims, delayed, dead. ARGV: id.
local worker, claims, delayed, dead, id = KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1]
local task = redis.call('XRANGE', worker, id, id)[1]
if task then redis.call('XADD', dead, 'MAXLEN', '~', 10000, '*', 'task', id, unpack(task[2])) end
drop_task(worker, claims, delayed, id)
return 1
