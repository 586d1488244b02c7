'use strict';

// node --require: programs that name no port reach the broker under test, unedited.

const net = require('node:net');

const [host, port] = (process.env.AMQP_ADDR || '127.0.0.1:5672').split(':');
const connect = net.connect;
net.connect = (options, ...rest) => {
  const usual = options && Number(options.port) === 5672;
  return connect(usual ? {...options, host, port: Number(port)} : options, ...rest);
};
