import http from 'http'

export const { request } = http
