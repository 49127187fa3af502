LM=2
1.5 20
-1 -1
IMAGE=p1.png
ID=0
COMMENT=onemark {"height": 24, "landmarks": ["a", "b"]}
SCALE=0.1
