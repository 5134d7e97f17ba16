head -c 4096 /dev/urandom |
  curl -sS -T - -H 'Content-Type: application/octet-stream' http://127.0.0.1:8000/v1/pages/1/42
curl -sS http://127.0.0.1:8000/v1/pages/1/42 | wc -c
